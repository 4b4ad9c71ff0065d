"use client";

export default function Failed({ reset }) {
  return <button onClick={reset}>Again</button>;
}
