-- Where jobs are listed, and how they are counted. A job is in one list, `jobs:{state}:{tenant}:{queue}:{kind}`, by the
-- time it was accepted. What one script call changes is written at its end, a command for each list.

local LISTS, LIST_NAMES, TENANTS = 'jobs:', 'lists:', 'tenants'
local RUNNING, RATES, RATES_MS = 'running-jobs', 'queue-rates:', 7200000
local RUN_TIMES, RUN_TIMES_MS, RUN_TIME_WEIGHT = 'run-times', 2592000000, 0.2
local SEPARATOR = '\31'

local lists, latest = {}, {} -- by key, and by state the one that was named last
local counted, run_times = {}, {}

local function list_of(state, tenant, queue, kind)
  local list = latest[state]
  if list and list.kind == kind and list.queue == queue and list.tenant == tenant then return list end
  local key = LISTS .. state .. ':' .. tenant .. ':' .. queue .. ':' .. kind
  list = lists[key] or { state = state, tenant = tenant, queue = queue, kind = kind, joined = {}, left = {} }
  lists[key], latest[state] = list, list
  return list
end

-- `retention`: of a list of final jobs; it lives as long as the newest of them (ms).
local function join_list(state, tenant, queue, kind, created, id, retention)
  local list = list_of(state, tenant, queue, kind)
  local joined = list.joined
  local n = #joined
  joined[n + 1], joined[n + 2] = created, id
  list.retention = retention
end

local function leave_list(state, tenant, queue, kind, id)
  local left = list_of(state, tenant, queue, kind).left
  left[#left + 1] = id
end

-- Adds to a queue's figures: `running`, a present number, or one of this minute.
local function count(queue, what, n)
  local figures = counted[queue]
  if not figures then
    figures = {}
    counted[queue] = figures
  end
  figures[what] = (figures[what] or 0) + n
end

-- Notes an attempt of a kind that has ended: one of those that end at the same time will do.
local function note_run_time(kind, started_ms)
  run_times[kind] = started_ms
end

local function write_list(key, list)
  local joined = #list.joined / 2
  if joined > 0 then
    call_with_many('ZADD', key, list.joined)
    local name = list.state .. SEPARATOR .. list.queue .. SEPARATOR .. list.kind
    if redis.call('SADD', LIST_NAMES .. list.tenant, name) == 1 then redis.call('SADD', TENANTS, list.tenant) end
    if list.retention then redis.call('PEXPIRE', key, list.retention) end
  end
  call_with_many('ZREM', key, list.left)
  if list.state == 'running' then
    count(list.queue, 'running', joined - #list.left)
  elseif joined > 0 and list.state ~= 'queued' and list.state ~= 'scheduled' then
    count(list.queue, list.state, joined)
  end
end

local function write_counts(now)
  local minute = math.floor(now / 60000)
  for queue, figures in pairs(counted) do
    local key = string.format('%s%d:%s', RATES, minute, queue)
    for what, n in pairs(figures) do
      if what == 'running' then
        if n ~= 0 and redis.call('HINCRBY', RUNNING, queue, n) <= 0 then redis.call('HDEL', RUNNING, queue) end
      else
        redis.call('HINCRBY', key, what, n)
      end
    end
    redis.call('PEXPIRE', key, RATES_MS)
  end
end

-- A kind's usual run time is a moving average: each call moves it towards that of an attempt that it ends.
local function write_run_times(now)
  if next(run_times) == nil then return end
  for kind, started_ms in pairs(run_times) do
    local ms = now - started_ms
    local before = tonumber(redis.call('HGET', RUN_TIMES, kind) or ms)
    redis.call('HSET', RUN_TIMES, kind, string.format('%.3f', before + (ms - before) * RUN_TIME_WEIGHT))
  end
  redis.call('PEXPIRE', RUN_TIMES, RUN_TIMES_MS)
end

-- Called once, at the end of every script that uses this library.
local function write_all(now)
  for key, list in pairs(lists) do write_list(key, list) end
  write_counts(now)
  write_run_times(now)
  write_feeds()
end
