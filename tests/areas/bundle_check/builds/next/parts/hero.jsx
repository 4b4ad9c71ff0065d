"use client";
import { format } from "date-fns";
import { useEffect, useState } from "react";

export default function Hero() {
  const [now, setNow] = useState("");
  useEffect(() => setNow(format(new Date(), "PPPP")), []);
  return <h1>Welcome {now}</h1>;
}
