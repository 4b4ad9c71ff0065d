import Panel from "../../parts/panel";

export async function getServerSideProps({ params }) {
  return { props: { id: params.id } };
}

export default function One({ id }) {
  return <Panel>{id}</Panel>;
}
