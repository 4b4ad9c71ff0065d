import { Cart } from "../../parts";

export default function Page() {
  return <Cart />;
}
