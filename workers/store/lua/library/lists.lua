-- Lists of jobs, and counts of their events. Each job is in one list, `jobs:{state}:{tenant}:{queue}:{kind}`, by the
-- time it was accepted. The changes of a script call are written at its end, with one command for each list.
--
-- A live job leaves its list when its state changes. An ended job leaves its list when its record expires: `list-ends`
-- holds these times, and every script that ends jobs removes the expired ones, at least two for each job that it adds.
-- Lists of ended jobs also expire as keys, in case nothing is written any more.

local LISTS, LIVE_LISTS, ENDED_LISTS, LIST_ENDS = 'jobs:', 'live-lists:', 'ended-lists:', 'list-ends'
local ENDED_TAGS, DEAD, DEAD_GROUPS = 'ended-tag:', 'dead:', 'dead-groups:'
local IDS_MAX, ENTRIES_AT_ONCE, REMOVED_MIN = 500, 8, 20
local RUNNING, RATES, RATES_MS = 'running-jobs', 'queue-rates:', 7200000
local RUN_TIMES, RUN_TIMES_MS, RUN_TIME_WEIGHT = 'run-times', 2592000000, 0.2
local SEPARATOR = '\31'

local lists, latest = {}, {} -- by key; and by state, the one used last
local counted, run_times = {}, {}

local function list_at(key)
  local list = lists[key] or { joined = {}, left = {} }
  lists[key] = list
  return list
end

local function list_of(state, tenant, queue, kind)
  local list = latest[state]
  if list and list.kind == kind and list.queue == queue and list.tenant == tenant then return list end
  list = list_at(LISTS .. state .. ':' .. tenant .. ':' .. queue .. ':' .. kind)
  list.state, list.tenant, list.queue, list.kind = state, tenant, queue, kind
  latest[state] = list
  return list
end

-- `retention`: how long the records of ended jobs are kept (ms); nil for a list of live jobs.
local function join(list, score, id, retention)
  local joined = list.joined
  local n = #joined
  joined[n + 1], joined[n + 2] = score, id
  if retention then list.retention = math.max(list.retention or 0, tonumber(retention)) end
end

local function join_list(state, tenant, queue, kind, created, id, retention)
  join(list_of(state, tenant, queue, kind), created, id, retention)
end

local function leave_list(state, tenant, queue, kind, id)
  local left = list_of(state, tenant, queue, kind).left
  left[#left + 1] = id
end

-- Adds `n` to one of a queue's figures: `running`, the current number, or one of the counts of this minute.
local function count(queue, what, n)
  local figures = counted[queue]
  if not figures then
    figures = {}
    counted[queue] = figures
  end
  figures[what] = (figures[what] or 0) + n
end

-- Records the start of an attempt that has ended; of several attempts of a kind in one script call, the last is enough.
local function note_run_time(kind, started_ms)
  run_times[kind] = started_ms
end

-- Adds a name by which readers find lists of live jobs. Called for jobs whose queue and kind may be new to the tenant.
local function name_live_list(tenant, queue, kind)
  redis.call('SADD', LIVE_LISTS .. tenant, queue .. SEPARATOR .. kind)
end

local function write_live_list(key, list)
  call_with_many('ZADD', key, list.joined)
  call_with_many('ZREM', key, list.left)
  local joined = #list.joined / 2
  if list.state == 'running' then
    count(list.queue, 'running', joined - #list.left)
  elseif list.state == 'retrying' and joined > 0 then
    count(list.queue, 'retrying', joined)
  end
end

-- Keeps the names by which readers find lists of ended jobs, for as long as these lists may contain any.
local function end_names(list, now, ends)
  local tenant, name = list.tenant, list.queue .. SEPARATOR .. list.kind
  local ended, live = ENDED_LISTS .. tenant, ':' .. tenant .. ':' .. list.queue .. ':' .. list.kind
  if tonumber(redis.call('ZSCORE', ended, list.state .. SEPARATOR .. name) or 0) < ends then
    redis.call('ZADD', ended, ends + KEPT_LONGER_MS, list.state .. SEPARATOR .. name)
    redis.call('ZREMRANGEBYSCORE', ended, '-inf', string.format('(%d', now))
    keep_for(ended, list.retention + KEPT_LONGER_MS)
  end
  if redis.call('EXISTS', LISTS .. 'scheduled' .. live, LISTS .. 'queued' .. live, LISTS .. 'running' .. live,
    LISTS .. 'retrying' .. live) == 0 then
    redis.call('SREM', LIVE_LISTS .. tenant, name)
  end
end

-- Returns the number of jobs that joined the list.
local function write_ended_list(key, list, now)
  call_with_many('ZREM', key, list.left)
  local joined, ends, entries = list.joined, now + (list.retention or 0), {}
  if #joined == 0 then return 0 end
  call_with_many('ZADD', key, joined)
  keep_for(key, list.retention)
  for first = 2, #joined, IDS_MAX * 2 do
    local entry = { key }
    for i = first, math.min(first + IDS_MAX * 2 - 2, #joined), 2 do entry[#entry + 1] = joined[i] end
    entries[#entries + 1], entries[#entries + 2] = ends, cmsgpack.pack(entry)
  end
  redis.call('ZADD', LIST_ENDS, unpack(entries))
  keep_for(LIST_ENDS, list.retention)
  if list.state then
    count(list.queue, list.state, #joined / 2)
    end_names(list, now, ends)
  end
  return #joined / 2
end

-- Returns whether an ended job with this id still belongs in a list: its record was kept longer, or the id was reused.
local function belongs(key, id)
  local r = redis.call('HMGET', RECORD .. id, 'state', 'tenant', 'queue', 'kind', 'tags', 'failure', 'retried_as')
  if not r[1] or next(MOVES[r[1]]) ~= nil then return false end
  local tenant = r[2] or DEFAULT_TENANT
  if key == LISTS .. r[1] .. ':' .. tenant .. ':' .. r[3] .. ':' .. r[4] then return true end
  for _, tag in ipairs(r[5] and cjson.decode(r[5]) or {}) do
    if key == ENDED_TAGS .. tenant .. ':' .. tag then return true end
  end
  local fingerprint = r[6] and not r[7] and string.match(r[6], '"fingerprint": "(%x+)"')
  return fingerprint and key == DEAD .. tenant .. ':' .. fingerprint
end

-- Removes the jobs of an entry of `list-ends` from their list, except those that still belong there, which go into
-- `kept` with a later time. Ignores anything foreign found under these keys. Returns the number of jobs examined.
local function end_entry(entry, now, kept)
  local read, ids = pcall(cmsgpack.unpack, entry)
  if not read or type(ids) ~= 'table' or #ids < 2 then return 1 end
  local key, gone, records = table.remove(ids, 1), ids, {}
  for i, id in ipairs(ids) do records[i] = RECORD .. id end
  if redis.call('EXISTS', unpack(records)) > 0 then
    gone = {}
    for i, id in ipairs(ids) do
      local left_ms = redis.call('PTTL', records[i])
      if not belongs(key, id) then
        gone[#gone + 1] = id
      elseif left_ms >= 0 then
        kept[#kept + 1], kept[#kept + 2] = now + left_ms + 1, cmsgpack.pack({ key, id })
      end
    end
  end
  if #gone > 0 then redis.pcall('ZREM', key, unpack(gone)) end
  local tenant, fingerprint = string.match(key, '^dead:([^:]*):(.+)$')
  if tenant and redis.call('EXISTS', key) == 0 then redis.call('ZREM', DEAD_GROUPS .. tenant, fingerprint) end
  return #ids
end

-- Removes jobs whose records have expired from their lists, about `most` of them.
local function end_lists(now, most)
  local looked, before = 0, string.format('(%d', now)
  repeat
    local due, done, kept = redis.call('ZRANGEBYSCORE', LIST_ENDS, '-inf', before, 'LIMIT', 0, ENTRIES_AT_ONCE), {}, {}
    for i, entry in ipairs(due) do
      if looked >= most then break end
      done[i] = entry
      looked = looked + end_entry(entry, now, kept)
    end
    if #done > 0 then redis.call('ZREM', LIST_ENDS, unpack(done)) end
    call_with_many('ZADD', LIST_ENDS, kept) -- after ZREM: the entry of a single job is the same as before
  until #due < ENTRIES_AT_ONCE or looked >= most
end

local function write_lists(now)
  local added = 0
  for key, list in pairs(lists) do
    if list.state and next(MOVES[list.state]) ~= nil then write_live_list(key, list) end
  end
  for key, list in pairs(lists) do
    if not list.state or next(MOVES[list.state]) == nil then added = added + write_ended_list(key, list, now) end
  end
  if added > 0 then end_lists(now, REMOVED_MIN + 2 * added) end
end

local function write_counts(now)
  local minute = math.floor(now / 60000)
  for queue, figures in pairs(counted) do
    local key = string.format('%s%d:%s', RATES, minute, queue)
    for what, n in pairs(figures) do
      if what == 'running' then
        if n ~= 0 and redis.call('HINCRBY', RUNNING, queue, n) <= 0 then redis.call('HDEL', RUNNING, queue) end
      else
        if redis.call('HINCRBY', key, what, n) == n then redis.call('PEXPIRE', key, RATES_MS) end
      end
    end
  end
end

-- A kind's usual run time is a moving average: each script call moves it towards the run time of an attempt it ended.
local function write_run_times(now)
  if next(run_times) == nil then return end
  for kind, started_ms in pairs(run_times) do
    local ms = now - started_ms
    local before = tonumber(redis.call('HGET', RUN_TIMES, kind) or ms)
    redis.call('HSET', RUN_TIMES, kind, string.format('%.3f', before + (ms - before) * RUN_TIME_WEIGHT))
  end
  keep_for(RUN_TIMES, RUN_TIMES_MS)
end

-- Called once, at the end of every script that uses this library.
local function write_all(now)
  write_lists(now)
  write_counts(now)
  write_run_times(now)
  write_feeds()
end
