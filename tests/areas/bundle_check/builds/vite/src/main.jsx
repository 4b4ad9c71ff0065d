import "./main.css";
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";
import sortBy from "lodash/sortBy";

createRoot(document.getElementById("root")).render(
  h("button", { onClick: () => import("./chart.jsx").then((it) => it.draw()) }, sortBy([2, 1]).join()),
);
