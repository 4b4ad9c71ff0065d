import Later from "../../parts/later";

export default function Page() {
  return (
    <main>
      <Later />
    </main>
  );
}
