import Cart from "../../parts/cart";

export default function Layout({ children }) {
  return (
    <div>
      <Cart />
      {children}
    </div>
  );
}
