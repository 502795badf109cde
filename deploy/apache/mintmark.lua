-- The hook `LuaHookAccessChecker mintmark.lua verdict` asks Mintmark about a
-- request. The demand is in the environment variable mintmark_demand. The hook
-- `clean` only takes away what a client says of itself, for mintmark-openidc.conf.
-- A fault here is a 500 to the client: nobody gets in by it.

local door = "127.0.0.1:3000"
local patience = 2 -- seconds, for the whole question

-- ask answers the status and the fields of the door's answer, or nil when there
-- is none in time. HTTP/1.0, so that the end of the answer is the end of the
-- connection.
local function ask(demand, authorization, address)
	local socket = require "socket"
	local host, port = door:match("^(.*):(%d+)$")
	local lines = { "GET /auth/verify?" .. demand .. " HTTP/1.0", "Host: mintmark", "X-Forwarded-For: " .. address }
	if authorization then
		lines[#lines + 1] = "Authorization: " .. authorization
	end
	local c, till = socket.tcp(), socket.gettime() + patience
	local function left()
		c:settimeout(math.max(till - socket.gettime(), 0.001), "t")
		return c
	end
	local fields = {}
	local line = left():connect(host, tonumber(port))
		and left():send(table.concat(lines, "\r\n") .. "\r\n\r\n")
		and left():receive("*l")
	local status = line and line:match("^HTTP/1%.%d (%d%d%d)%f[%D]")
	while status and line ~= "" do
		line = left():receive("*l")
		if not line then
			status = nil -- half an answer is none
			break
		end
		local name, value = line:match("^([%w-]+):%s*(.-)%s*$")
		if name then
			fields[name:lower()] = value
		end
	end
	c:close()
	return tonumber(status), fields
end

local identity = { "X-Auth-Client-Id", "X-Auth-Role", "X-Auth-Tags", "X-Auth-Token-Id" }

-- forget drops whatever a client says of itself: X_Auth_Role and X.Auth.Role are
-- X-Auth-Role to many a program. `Connection: X-Auth-Role` would have mod_proxy
-- remove what is set here.
local function forget(r)
	for name in pairs(r:headers_in_table()) do
		if name:lower():find("^x[^%w]auth[^%w]") then
			r.headers_in[name] = nil
		end
	end
	r.headers_in["X-Forwarded-For"] = nil -- mod_proxy sets it again
	local kept = {}
	for word in (r.headers_in["Connection"] or ""):lower():gmatch("[^,%s]+") do
		if word == "close" or word == "keep-alive" or word == "upgrade" then
			kept[#kept + 1] = word
		end
	end
	r.headers_in["Connection"] = #kept > 0 and table.concat(kept, ", ") or nil
end

-- ambiguous is a path that servers read in different ways: no way past a demand.
local function ambiguous(uri)
	local path = uri:match("^[^?]*"):lower() .. "/"
	for _, odd in ipairs { "//+.", "/%.%.?[/;]", "%%2[ef]", "%%5c", "%%00", "\\" } do
		if path:find(odd) then
			return true
		end
	end
	return false
end

function clean(r)
	forget(r)
	return ambiguous(r.unparsed_uri) and 400 or apache2.OK
end

function verdict(r)
	local refused = clean(r)
	if refused ~= apache2.OK then
		return refused
	end
	local demand = r.subprocess_env["mintmark_demand"] or "role=user"
	local status, fields = ask(demand, r.headers_in["Authorization"], r.useragent_ip)
	if status == 401 or status == 403 then
		r.err_headers_out["WWW-Authenticate"] = fields["www-authenticate"]
		r.err_headers_out["X-Request-Id"] = fields["x-request-id"] -- under which Mintmark explains it
		r.err_headers_out["Cache-Control"] = "no-store"
		return status
	end
	-- An answer without a token's id is not Mintmark's, and no answer is no way in.
	if status ~= 200 or (fields["x-auth-token-id"] or "") == "" then
		r.err_headers_out["Retry-After"] = "5"
		return 503
	end
	for _, name in ipairs(identity) do
		r.headers_in[name] = fields[name:lower()] or ""
	end
	return apache2.OK
end
