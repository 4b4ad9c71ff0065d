"use client";

export default function Template({ children }) {
  return <div role="feed">{children}</div>;
}
