-- Prepended to every script by workers/store/connection.py, after the generated table MOVES[before][after] = true.
-- Times are milliseconds by this server's clock, the only clock all workers share. Only tests pass another "now".
-- Keys are built here from ids, since a claim cannot know its ids beforehand: one server or Sentinel, no Cluster.

local RECORD, EVENTS, STEPS = 'job:', 'job-events:', 'job-steps:'
local ENVELOPE, LEASE, RESULT, ABORT = 'arq:job:', 'arq:in-progress:', 'arq:result:', 'arq:abort'
local DEFAULT_TENANT, QUEUE_OF_WEBHOOKS = 'default', 'webhooks'
local WAKE_TOKENS_MAX, FEED_MS, KEPT_LONGER_MS = 64, 3600000, 60000

-- Returns whether stock clients ask for aborts; a value of another type under their key is somebody else's.
local function has_aborts() return redis.call('TYPE', ABORT).ok == 'zset' end

local function clock(given)
  if given ~= '0' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function may_move(before, after)
  return MOVES[before] ~= nil and MOVES[before][after] == true
end

-- Same as `workers.contract.keys.queue`.
local function key_of_queue(name)
  return name == 'default' and 'arq:queue' or string.match(name, '^=(.+)$') or 'arq:queue:' .. name
end

local feeds = {}

-- Adds a line to a tenant's feed. Skips ids with white space, which break the format; only stock producers use them.
local function add_to_feed(tenant, id, event_id, name, attempt, data)
  if not string.find(id, '^%S+$') then return end
  local lines = feeds[tenant]
  if not lines then
    lines = {}
    feeds[tenant] = lines
  end
  local line = id .. ' ' .. event_id .. ' ' .. name .. ' ' .. attempt
  lines[#lines + 1] = data and line .. ' ' .. data or line
end

-- Called once, at the end of a script: writes all lines for a tenant as one entry of its feed.
local function write_feeds()
  for tenant, lines in pairs(feeds) do
    redis.call('XADD', 'feed:' .. tenant, 'MAXLEN', '~', FEED_KEPT, '*', 'events', table.concat(lines, '\n'))
    redis.call('PEXPIRE', 'feed:' .. tenant, FEED_MS)
  end
end

local function add_event(tenant, id, name, attempt, data)
  local event_id
  if data then
    event_id = redis.call('XADD', EVENTS .. id, '*', 'name', name, 'attempt', attempt, 'data', data)
  else
    event_id = redis.call('XADD', EVENTS .. id, '*', 'name', name, 'attempt', attempt)
  end
  add_to_feed(tenant, id, event_id, name, attempt, data)
end

-- Called after a job that has not ended has added an event. Redis trims whole nodes, so a few more than EVENTS_KEPT may
-- remain.
local function trim_events(id)
  redis.call('XTRIM', EVENTS .. id, 'MAXLEN', '~', EVENTS_KEPT)
end

-- Calls a command with many arguments, in portions that fit on Lua's stack.
local function call_with_many(command, key, arguments)
  for i = 1, #arguments, 1000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 999, #arguments)))
  end
end

-- Wakes up to `jobs` idle workers of a queue. The list is capped: a token means "check the queue", not "a job is due".
local function wake(queue, jobs)
  local list = 'wake:' .. queue
  for _ = redis.call('LLEN', list) + 1, math.min(jobs, WAKE_TOKENS_MAX) do redis.call('RPUSH', list, '1') end
end

-- Adds the attempt that has just ended, and will be followed by another, to the record's last ATTEMPTS_KEPT attempts.
local function note_attempt(id, now, outcome, code, message)
  local r = redis.call('HMGET', RECORD .. id, 'attempts', 'attempt', 'started_ms', 'worker')
  local noted = cjson.decode(r[1] or '[]')
  noted[#noted + 1] = { attempt = tonumber(r[2]), started_ms = tonumber(r[3]), ended_ms = now, worker = r[4],
    outcome = outcome, code = code, message = message }
  if #noted > ATTEMPTS_KEPT then table.remove(noted, 1) end
  redis.call('HSET', RECORD .. id, 'attempts', cjson.encode(noted))
end

-- Keeps a key for at least `ms`, and up to a minute longer so that most calls only read. Source: EXPIRE has GT only
-- since Redis 7.0.
local function keep_for(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms + KEPT_LONGER_MS) end
end

-- Lets the record and its events expire `retention` ms from now.
local function expire(id, retention)
  redis.call('PEXPIRE', RECORD .. id, retention)
  redis.call('PEXPIRE', EVENTS .. id, retention)
end
