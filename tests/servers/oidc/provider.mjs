// A real identity provider (panva's oidc-provider, certified by the OpenID Foundation) with the people of the tests.
// Its page of log-in takes any name of PEOPLE without a password: what is tested is our side of the protocol.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const installed = createRequire(given.modules + "/");
const { Provider } = await import(pathToFileURL(installed.resolve("oidc-provider")).href);

const provider = new Provider(given.issuer, {
  clients: [
    {
      client_id: "city",
      client_secret: given.secret,
      redirect_uris: [given.redirect],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    },
  ],
  jwks: { keys: given.keys },
  cookies: { keys: ["of the tests"] },
  claims: { openid: ["sub", "amr"], profile: ["name", "preferred_username", "groups"] },
  features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
  interactions: { url: (_, interaction) => `/who/${interaction.uid}` },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, ...given.people[id] }),
  }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

const PAGE = '<!doctype html><form method="post"><input name="who" aria-label="who"><button>Log in</button></form>';
const callback = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith("/who/")) return callback(request, response);
  if (request.method === "GET") return response.setHeader("Content-Type", "text/html").end(PAGE);
  let body = "";
  for await (const part of request) body += part;
  const form = new URLSearchParams(body);
  const result = form.has("refuse")
    ? { error: "access_denied" }
    : { login: { accountId: form.get("who"), amr: form.has("second") ? ["pwd", "otp"] : ["pwd"] } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}).listen(given.port, "127.0.0.1");
