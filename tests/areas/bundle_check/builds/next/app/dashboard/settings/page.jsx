import Cart from "../../../parts/cart";

export default function Page() {
  return <Cart />;
}
