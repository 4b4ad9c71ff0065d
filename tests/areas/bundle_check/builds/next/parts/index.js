export { default as Cart } from "./cart";
export { default as Hero } from "./hero";
export { default as Panel } from "./panel";
