// Asks a running authority as services do that use these libraries. It reads
// {"issuer": …, "steps": [{"do": …, …}]} and prints what came of each step: its
// value, or the error of the library.

import { webcrypto } from "node:crypto";
import { text } from "node:stream/consumers";

globalThis.crypto ??= webcrypto; // Node 18 has no such global

const jose = await import("jose");
const oauth = await import("oauth4webapi");
const openid = await import("openid-client");

const { issuer, steps } = JSON.parse(await text(process.stdin));
const plain = { [oauth.allowInsecureRequests]: true }; // the loopback interface has no TLS here

const server = await (async () => {
	const url = new URL(issuer);
	return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plain }));
})();

const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));

const byOAuth4WebAPI = {
	basic: oauth.ClientSecretBasic,
	post: oauth.ClientSecretPost,
};

const byOpenID = {
	basic: openid.ClientSecretBasic,
	post: openid.ClientSecretPost,
};

const configured = ({ client, method }) =>
	openid.discovery(new URL(issuer), client.id, undefined, byOpenID[method](client.secret), {
		algorithm: "oauth2",
		execute: [openid.allowInsecureRequests],
	});

const actions = {
	"metadata": async () => server,
	"jose verify": async ({ token, audience }) =>
		(await jose.jwtVerify(token, keys, { issuer, audience, typ: "at+jwt" })).payload,
	// With a Bearer token: the library has no other way to send one.
	"oauth4webapi validate": async ({ token, audience }) =>
		oauth.validateJwtAccessToken(
			server,
			new Request("http://127.0.0.1/", { headers: { authorization: `Bearer ${token}` } }),
			audience,
			plain,
		),
	"oauth4webapi introspect": async ({ client, method, token }) => {
		const who = { client_id: client.id };
		const response = await oauth.introspectionRequest(server, who, byOAuth4WebAPI[method](client.secret), token, plain);
		return oauth.processIntrospectionResponse(server, who, response);
	},
	"oauth4webapi revoke": async ({ client, method, token }) =>
		oauth.processRevocationResponse(
			await oauth.revocationRequest(server, { client_id: client.id }, byOAuth4WebAPI[method](client.secret), token, plain),
		),
	"openid-client introspect": async (step) => openid.tokenIntrospection(await configured(step), step.token),
	"openid-client revoke": async (step) => openid.tokenRevocation(await configured(step), step.token),
};

const results = [];
for (const step of steps) {
	try {
		results.push({ value: (await actions[step.do](step)) ?? null });
	} catch (error) {
		results.push({ error: error.error ?? error.code ?? String(error), status: error.status ?? 0 });
	}
}
console.log(JSON.stringify(results));
