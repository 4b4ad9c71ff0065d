"use client";
import { useState } from "react";

export default function Nav() {
  const [open, setOpen] = useState(false);
  return <button onClick={() => setOpen(!open)}>{open ? "close" : "menu"}</button>;
}
