import Cart from "../../parts/cart";

export default function Legacy() {
  return (
    <main>
      <Cart />
    </main>
  );
}
