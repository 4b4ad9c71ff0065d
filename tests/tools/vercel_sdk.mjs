// What Vercel's own client makes of an API: node vercel_sdk.mjs URL OLD NEW; it checks each answer
// against the published contract. Prints "ok" or what is wrong, by name of the call.
import { Vercel } from "@vercel/sdk";

const [serverURL, old, current] = process.argv.slice(2);
const { aliases, deployments, projects, teams, user } = new Vercel({
  bearerToken: process.env.VERCEL_TOKEN,
  serverURL,
});
const said = {};
const call = async (name, act) => {
  try {
    const answer = await act();
    said[name] = "ok";
    return answer;
  } catch (error) {
    said[name] = `${error.name}: ${JSON.stringify(error.cause?.issues ?? error.message)}`;
  }
};
const teamId = "team_sandbox";
const of = { teamId, idOrName: "prj_web" };
const variable = { key: "A_KEY", value: "v", type: "sensitive", target: ["production"] };

await call("getProject", () => projects.getProject(of));
await call("getProjectDomains", () => projects.getProjectDomains({ ...of, production: "true" }));
await call("getDeployments", () =>
  deployments.getDeployments({ teamId, projectId: "prj_web", target: "production" }),
);
await call("getDeployment", () => deployments.getDeployment({ teamId, idOrUrl: current }));
await call("getAlias", () => aliases.getAlias({ teamId, idOrAlias: "web.example.com" }));
await call("createProjectEnv", () =>
  projects.createProjectEnv({ ...of, upsert: "true", requestBody: variable }),
);
const id = (await call("filterProjectEnvs", () => projects.filterProjectEnvs(of)))?.envs?.[0]?.id;
await call("getProjectEnv", () => projects.getProjectEnv({ ...of, id }));
await call("editProjectEnv", () =>
  projects.editProjectEnv({ ...of, id, requestBody: { value: "w" } }),
);
await call("removeProjectEnv", () => projects.removeProjectEnv({ ...of, id }));
await call("requestRollback", () =>
  projects.requestRollback({
    projectId: "prj_web",
    deploymentId: old,
    description: "why",
    teamId,
  }),
);
await call("getProject, rolled back", () => projects.getProject(of));
await call("requestPromote", () =>
  projects.requestPromote({ projectId: "prj_web", deploymentId: current, teamId }),
);
await call("updateProject", () =>
  projects.updateProject({ ...of, requestBody: { autoAssignCustomDomains: true } }),
);
await call("listPromoteAliases", () =>
  projects.listPromoteAliases({ projectId: "prj_web", teamId }),
);
await call("getTeams", () => teams.getTeams({}));
await call("getAuthUser", () => user.getAuthUser());
console.log(JSON.stringify(said));
