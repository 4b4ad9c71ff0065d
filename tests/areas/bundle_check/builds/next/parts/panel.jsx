"use client";
import debug from "debug";
import ms from "ms";
import { useEffect } from "react";
import styles from "./panel.module.css";

export default function Panel({ children }) {
  useEffect(() => debug("panel")("shown"), []);
  return <section className={styles.panel} title={ms(60000)}>{children}</section>;
}
