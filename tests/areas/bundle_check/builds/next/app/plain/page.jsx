export default function Page() {
  return <p>No client code of its own.</p>;
}
