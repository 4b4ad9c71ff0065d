import Hero from "../../../../parts/hero";

export default function Page() {
  return <Hero />;
}
