// Holds requests against GitHub's own description of its API: that the address exists, takes this method and these
// query parameters, and that the body is as its schema says. Reads a JSON list of { method, path, body } from standard
// input and writes a list of complaints about each.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import Ajv from "ajv";
import formats from "ajv-formats";

const require = createRequire(import.meta.url);
const api = JSON.parse(readFileSync(require.resolve("@octokit/openapi/generated/api.github.com.json"), "utf8"));
const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: true });
formats.default ? formats.default(ajv) : formats(ajv);
ajv.addSchema(api, "api");

const resolve = (node) =>
  node.$ref ? node.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/")], api) : node;
const templates = Object.keys(api.paths).map((path) => {
  const pattern = path.replace(/[.]/g, "\\.").replace(/\{[^}]+\}/g, "[^/]+");
  return { path, pattern: new RegExp(`^${pattern}$`), literal: path.replace(/\{[^}]+\}/g, "").length };
});

function complaints({ method, path, body }) {
  const url = new URL(path, "https://api.github.com");
  const fitting = templates.filter(({ pattern }) => pattern.test(url.pathname));
  fitting.sort((a, b) => b.literal - a.literal);
  const operation = fitting[0] && api.paths[fitting[0].path][method.toLowerCase()];
  if (!operation) return [`no such operation: ${method} ${url.pathname}`];
  const known = (operation.parameters ?? []).map(resolve).filter((p) => p.in === "query");
  const found = [...url.searchParams.keys()].filter((name) => !known.some((p) => p.name === name));
  const out = found.map((name) => `no such parameter: ${name}`);
  if (!operation.requestBody) return body ? [...out, "no body is taken"] : out;
  const steps = ["paths", fitting[0].path, method.toLowerCase(), "requestBody", "content", "application/json", "schema"];
  const pointer = steps.map((step) => encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/");
  const validate = ajv.compile({ $ref: `api#/${pointer}` });
  const value = JSON.parse(body);
  if (!validate(value)) out.push(...validate.errors.map((error) => `${error.instancePath} ${error.message}`));
  // The schema allows what it does not name; GitHub does not understand it.
  const schema = resolve(operation.requestBody.content["application/json"].schema);
  const named = Object.keys(schema.properties ?? {});
  out.push(...Object.keys(value).filter((name) => !named.includes(name)).map((name) => `no such field: ${name}`));
  return out;
}

const requests = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(requests.map(complaints)));
