export default function Page() {
  return <a href="/products/1">one</a>;
}
