-- Where jobs are listed, and how they are counted. A job is in one list, `jobs:{state}:{tenant}:{queue}:{kind}`, by the
-- time it was accepted. What one script call changes is written at its end, a command for each list.

local LISTS, LIST_NAMES, TENANTS = 'jobs:', 'lists:', 'tenants'
local RUNNING, RATES, RATES_MS = 'running-jobs', 'queue-rates:', 7200000
local RUN_TIMES, RUN_TIMES_MS, RUN_TIME_WEIGHT = 'run-times', 2592000000, 0.2
local SEPARATOR = '\31'

local joined, left, named, kept_for = {}, {}, {}, {}
local counted, run_times = {}, {}

local function list_key(state, tenant, queue, kind)
  return LISTS .. state .. ':' .. tenant .. ':' .. queue .. ':' .. kind
end

local function append(lists, key, first, second)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  list[#list + 1] = first
  if second then list[#list + 1] = second end
end

-- `retention`: of a list of final jobs; it lives as long as the newest of them (ms).
local function join_list(state, tenant, queue, kind, created, id, retention)
  local key = list_key(state, tenant, queue, kind)
  if not joined[key] then named[key] = { tenant, state .. SEPARATOR .. queue .. SEPARATOR .. kind } end
  append(joined, key, created, id)
  if retention then kept_for[key] = retention end
end

local function leave_list(state, tenant, queue, kind, id)
  append(left, list_key(state, tenant, queue, kind), id)
end

-- Adds to a queue's figures of this minute; `running` is a present number, not one of this minute.
local function count(queue, what, n)
  local figures = counted[queue]
  if not figures then
    figures = {}
    counted[queue] = figures
  end
  figures[what] = (figures[what] or 0) + n
end

local function note_run_time(kind, ms)
  local noted = run_times[kind]
  if noted then
    noted[1], noted[2] = noted[1] + ms, noted[2] + 1
  else
    run_times[kind] = { ms, 1 }
  end
end

local function write_lists()
  for key, members in pairs(joined) do
    call_with_many('ZADD', key, members)
    local name = named[key]
    if redis.call('SADD', LIST_NAMES .. name[1], name[2]) == 1 then redis.call('SADD', TENANTS, name[1]) end
    if kept_for[key] then redis.call('PEXPIRE', key, kept_for[key]) end
  end
  for key, ids in pairs(left) do call_with_many('ZREM', key, ids) end
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

-- A kind's usual run time is a moving average: each call moves it towards the mean of the attempts it ends.
local function write_run_times()
  if next(run_times) == nil then return end
  for kind, noted in pairs(run_times) do
    local mean = noted[1] / noted[2]
    local before = tonumber(redis.call('HGET', RUN_TIMES, kind) or mean)
    local weight = 1 - (1 - RUN_TIME_WEIGHT) ^ noted[2]
    redis.call('HSET', RUN_TIMES, kind, string.format('%.3f', before + (mean - before) * weight))
  end
  redis.call('PEXPIRE', RUN_TIMES, RUN_TIMES_MS)
end

-- Called once, at the end of every script that uses this library.
local function write_all(now)
  write_lists()
  write_counts(now)
  write_run_times()
  write_feeds()
end
