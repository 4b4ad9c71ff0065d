export default function Page() {
  return <a href="/plain">plain</a>;
}
