// What GitHub's own client makes of an API: node octokit.mjs URL OWNER REPOSITORY ENVIRONMENT
import { Octokit } from "@octokit/rest";

const [baseUrl, owner, repo, environment_name] = process.argv.slice(2);
const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN, baseUrl });
const { actions, repos } = octokit.rest;
const names = (found) => found.map((each) => each.name);
const of = { owner, repo, environment_name, per_page: 100 };

const repository = (await repos.get({ owner, repo })).data;
const branch = (await repos.getBranch({ owner, repo, branch: repository.default_branch })).data;
console.log(
  JSON.stringify({
    repository: repository.full_name,
    branch: branch.name,
    head: branch.commit.sha,
    secrets: names(await octokit.paginate(actions.listRepoSecrets, of)),
    variables: await octokit.paginate(actions.listRepoVariables, of),
    environment_secrets: names(await octokit.paginate(actions.listEnvironmentSecrets, of)),
    environment_variables: names(await octokit.paginate(actions.listEnvironmentVariables, of)),
  }),
);
