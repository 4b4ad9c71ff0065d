"use client";
import _ from "lodash";

export default function Chart() {
  return <pre>{JSON.stringify(_.chunk(_.range(9), 3))}</pre>;
}
