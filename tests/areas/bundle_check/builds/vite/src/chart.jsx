import _ from "lodash";

export function draw() {
  document.title = JSON.stringify(_.chunk(_.range(9), 3));
}
