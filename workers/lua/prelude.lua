-- Put before every script by workers/script.py, behind the generated table MOVES[before][after] = true.
-- Times are milliseconds by this server's clock, the only clock all workers share. Only a test names another "now".
-- Keys are made here from ids, since a claim cannot know its ids beforehand: one server or Sentinel, no Cluster.

local RECORD, EVENTS, STEPS = 'job:', 'job-events:', 'job-steps:'
local ENVELOPE, LEASE, RESULT, ABORT = 'arq:job:', 'arq:in-progress:', 'arq:result:', 'arq:abort'
local WAKE_TOKENS_MAX = 64

local function clock(given)
  if given ~= '0' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function may_move(before, after)
  return MOVES[before] ~= nil and MOVES[before][after] == true
end

local function add_event(id, name, attempt, data)
  if data then
    redis.call('XADD', EVENTS .. id, '*', 'name', name, 'attempt', attempt, 'data', data)
  else
    redis.call('XADD', EVENTS .. id, '*', 'name', name, 'attempt', attempt)
  end
end

-- Called where a job that goes on has added an event. Whole nodes go, so a few more than EVENTS_KEPT may stay.
local function trim_events(id)
  redis.call('XTRIM', EVENTS .. id, 'MAXLEN', '~', EVENTS_KEPT)
end

-- Calls a command that takes many arguments, in portions that fit Lua's stack.
local function call_with_many(command, key, arguments)
  for i = 1, #arguments, 1000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 999, #arguments)))
  end
end

-- Wakes up to `jobs` idle workers of a queue. The list is capped: a token means "look", not "here is one job".
local function wake(queue, jobs)
  local list = 'wake:' .. queue
  for _ = redis.call('LLEN', list) + 1, math.min(jobs, WAKE_TOKENS_MAX) do redis.call('RPUSH', list, '1') end
end

-- The record and all that lies beside it goes `retention` ms from now.
local function expire(id, retention, has_steps)
  redis.call('PEXPIRE', RECORD .. id, retention)
  redis.call('PEXPIRE', EVENTS .. id, retention)
  if has_steps then redis.call('PEXPIRE', STEPS .. id, retention) end
end
