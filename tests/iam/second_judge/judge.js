// Judges requests by the policies of roles. Reads {"policies": {ROLE: [DOCUMENT]}, "requests": [{role, action, resource,
// account, context}]} from stdin; writes a list of {allowed, ignored}, or of {error}, in the order of the requests.
import { runSimulation } from "@cloud-copilot/iam-simulate";

// What is asked of another account is allowed there; a key lets its account's own policies decide (AWS KMS Developer
// Guide, "Default key policy"). Here it is judged what the role's own policies say.
function resourcePolicyOf(asked) {
  const isKey = asked.action.startsWith("kms:");
  if (!isKey && asked.account === asked.home) return undefined;
  const principal = `arn:aws:iam::${asked.home}:${isKey ? "root" : `role/${asked.role}`}`;
  return {
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: principal }, Action: asked.action, Resource: "*" }],
  };
}

async function judge(policies, asked) {
  const answer = await runSimulation(
    {
      request: {
        principal: `arn:aws:iam::${asked.home}:role/${asked.role}`,
        action: asked.action,
        resource: { resource: asked.resource, accountId: asked.account },
        contextVariables: asked.context,
      },
      identityPolicies: policies[asked.role].map((policy, number) => ({ name: `policy-${number}`, policy })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: resourcePolicyOf(asked),
    },
    {},
  );
  if (answer.resultType === "error") return { error: JSON.stringify(answer.errors) };
  const ignored = answer.resultType === "single" ? (answer.result.ignoredContextKeys ?? []) : [];
  return { allowed: answer.overallResult === "Allowed", ignored };
}

let text = "";
for await (const piece of process.stdin) text += piece;
const { policies, requests } = JSON.parse(text);
const verdicts = [];
for (const asked of requests) verdicts.push(await judge(policies, asked));
process.stdout.write(JSON.stringify(verdicts));
