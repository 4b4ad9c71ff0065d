import Later from "../../parts/later";

export default function Page() {
  return <Later />;
}
