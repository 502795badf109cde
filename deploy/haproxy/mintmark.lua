-- The action `http-request lua.mintmark` asks Mintmark about a request.
--
-- It reads the demand from txn.mintmark_demand and answers in txn.mintmark_status
-- (0: no verdict), _challenge, _request_id, _client_id, _role, _tags and
-- _token_id. The configuration refuses every status but 200, so a fault here lets
-- nobody in.

local door = "http://127.0.0.1:3000/auth/verify?"
local timeout = 500 -- milliseconds; HAProxy tries four times

local function field(headers, name)
	local values = headers and headers[name]
	return values and values[0] or ""
end

core.register_action("mintmark", { "http-req" }, function(txn)
	txn:set_var("txn.mintmark_status", 0)

	-- All Authorization fields go to the door, which refuses more than one.
	local sent, authorization = txn.http:req_get_headers()["authorization"], {}
	local i = 0
	while sent and sent[i] do
		authorization[i + 1] = sent[i]
		i = i + 1
	end
	local answer = core.httpclient():get {
		url = door .. (txn:get_var("txn.mintmark_demand") or ""),
		headers = {
			["host"] = { "mintmark" },
			["authorization"] = authorization,
			["x-forwarded-for"] = { txn.f:src() },
		},
		timeout = timeout,
	}
	local id = field(answer.headers, "x-auth-token-id")
	if answer.status == 200 and id == "" then
		return -- whoever answered is not Mintmark
	end
	txn:set_var("txn.mintmark_challenge", field(answer.headers, "www-authenticate"))
	txn:set_var("txn.mintmark_request_id", field(answer.headers, "x-request-id"))
	txn:set_var("txn.mintmark_client_id", field(answer.headers, "x-auth-client-id"))
	txn:set_var("txn.mintmark_role", field(answer.headers, "x-auth-role"))
	txn:set_var("txn.mintmark_tags", field(answer.headers, "x-auth-tags"))
	txn:set_var("txn.mintmark_token_id", id)
	txn:set_var("txn.mintmark_status", answer.status)
end)
