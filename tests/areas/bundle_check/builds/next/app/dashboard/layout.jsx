"use client";
import Panel from "../../parts/panel";

export default function Layout({ children, side }) {
  return (
    <Panel>
      {children}
      {side}
    </Panel>
  );
}
