import Eager from "../../parts/eager";

export default function Page() {
  return (
    <main>
      <Eager />
    </main>
  );
}
