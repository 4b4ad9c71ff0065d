"use client";

export default function Failed({ reset }) {
  return (
    <html lang="en">
      <body>
        <button onClick={reset}>Again</button>
      </body>
    </html>
  );
}
