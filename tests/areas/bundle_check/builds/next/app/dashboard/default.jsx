export default function Page() {
  return <p>Dashboard</p>;
}
