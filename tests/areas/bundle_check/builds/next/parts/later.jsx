"use client";
import dynamic from "next/dynamic";
import { useState } from "react";

const Chart = dynamic(() => import("./chart"));

export default function Later() {
  const [shown, setShown] = useState(false);
  return <div>{shown ? <Chart /> : <button onClick={() => setShown(true)}>chart</button>}</div>;
}
