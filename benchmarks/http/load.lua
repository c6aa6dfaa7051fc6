-- For wrk: sends one request again and again.
-- Arguments behind `--`: the method, and a file with the body.

function init(args)
  local body = assert(io.open(args[2], 'rb'))
  wrk.method, wrk.body = args[1], body:read('*a')
  wrk.headers['Content-Type'] = 'application/json'
  body:close()
end
