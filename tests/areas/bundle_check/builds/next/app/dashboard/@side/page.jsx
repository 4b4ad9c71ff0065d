import Chart from "../../../parts/chart";

export default function Page() {
  return <Chart />;
}
