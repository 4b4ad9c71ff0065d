"use client";
import sortBy from "lodash/sortBy";
import { useState } from "react";

export default function Cart() {
  const [rows] = useState([3, 1, 2]);
  return <aside>{sortBy(rows).join(", ")}</aside>;
}
