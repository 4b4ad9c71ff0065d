"use client";
import { useState } from "react";
import Hero from "../../../../parts/hero";

export default function Page() {
  const [count, setCount] = useState(0);
  return (
    <>
      <Hero />
      <button onClick={() => setCount(count + 1)}>{count}</button>
    </>
  );
}
