import Cart from "../../../parts/cart";

export const dynamic = "force-dynamic";

export default function Page() {
  return <Cart />;
}
