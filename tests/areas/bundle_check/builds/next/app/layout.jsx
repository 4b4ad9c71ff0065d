import "./global.css";
import Nav from "../parts/nav";

export const metadata = { title: "Site" };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <Nav />
        {children}
      </body>
    </html>
  );
}
