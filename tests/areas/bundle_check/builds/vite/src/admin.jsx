import "./main.css";
import { createElement as h } from "react";
import { createRoot } from "react-dom/client";
import debug from "debug";
import ms from "ms";

debug("admin")("shown");
createRoot(document.getElementById("root")).render(h("p", null, ms(60000)));
