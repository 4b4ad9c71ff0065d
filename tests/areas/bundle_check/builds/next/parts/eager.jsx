"use client";
import dynamic from "next/dynamic";

const Chart = dynamic(() => import("./chart"));

export default function Eager() {
  return <Chart />;
}
