import Panel from "../../../parts/panel";

export const dynamic = "force-dynamic";

export default function Page() {
  return <Panel>docs</Panel>;
}
