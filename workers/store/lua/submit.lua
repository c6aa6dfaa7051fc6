-- Accepts jobs. The record, the envelope and the queue entry of a job are written together or not at all.
-- Uses library: lists, accepting
-- ARGV[1] now (ms, 0: the server's clock)
-- ARGV[2] '' or a JSON object, the batch formed by these jobs: id, tenant, atomic (all or none), idempotency (as below)
-- then for each job: id, kind, queue name, queue key, run at (ms; 0: not given), delay (ms), max attempts, envelope,
--   tenant, and '' or a JSON object with optional parts: batch, tags, unique_key, deadline_ms, callback_url, and
--     idempotency: key, fingerprint, life (ms), hold (ms; 0: the answer follows from what is returned here)
-- Returns {now, then for each job: its due time (ms); or 0: duplicate, an accepted job has this id; or a list:
--   {'unique', id of the job that holds the key}; {'mismatch'}: the idempotency key was used with another fingerprint;
--   {'held', ms}: its first request has not been answered yet; {'replay', id, created (ms), due (ms), answer or ''};
--   {'kept out'}: the job itself is acceptable, but another job of its atomic batch is not}.
--   A batch whose key is known returns only {now, {'mismatch'}}, {now, {'held', …}} or {now, {'replay', …}}

local PER_JOB, IDEMPOTENCY = 10, 'idempotency:'
local now = clock(ARGV[1])
local batch = ARGV[2] ~= '' and cjson.decode(ARGV[2]) or nil
local answer, taken, seen = { now }, {}, {}

local function known(claim)
  local kept = redis.call('HMGET', IDEMPOTENCY .. claim.key, 'fingerprint', 'id', 'created_ms', 'due_ms', 'held_ms', 'answer')
  if not kept[1] then return nil end
  if kept[1] ~= claim.fingerprint then return { 'mismatch' } end
  if not kept[6] and tonumber(kept[5]) > now then return { 'held', kept[5] - now } end
  return { 'replay', kept[2], kept[3], kept[4], kept[6] or '' }
end

local function remember(claim, id, due)
  local key = IDEMPOTENCY .. claim.key
  redis.call('HSET', key, 'fingerprint', claim.fingerprint, 'id', id, 'created_ms', now, 'due_ms', due, 'held_ms',
    now + claim.hold)
  redis.call('PEXPIRE', key, claim.life)
end

local function exist(ids)
  local keys = {}
  for n, id in ipairs(ids) do
    keys[n * 3 - 2], keys[n * 3 - 1], keys[n * 3] = RECORD .. id, ENVELOPE .. id, RESULT .. id
  end
  for i = 1, #keys, 999 do
    if redis.call('EXISTS', unpack(keys, i, math.min(i + 998, #keys))) > 0 then return true end
  end
  return false
end

local function ids_of_all()
  local ids = {}
  for i = 3, #ARGV, PER_JOB do ids[#ids + 1] = ARGV[i] end
  return ids
end

local any_exists = exist(ids_of_all())

-- Returns the reason a job cannot be accepted, or nil.
local function refusal(i, more)
  local id = ARGV[i]
  if more and more.idempotency then
    local found = known(more.idempotency)
    if found then return found end
  end
  if seen[id] or any_exists and exist({ id }) then return 0 end
  if more and more.unique_key then
    local name = unique_name(ARGV[i + 8], ARGV[i + 1], more.unique_key)
    local holder = taken[name] or holder_of(name)
    if holder then return { 'unique', holder } end
    if batch and batch.atomic then taken[name] = id end
  end
  return nil
end

local function take(i, more)
  local at = tonumber(ARGV[i + 4])
  local due = at > 0 and math.max(at, now) or now + tonumber(ARGV[i + 5]) -- the past would overtake all who wait
  accept(now, ARGV[i], ARGV[i + 8], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], due, ARGV[i + 6], ARGV[i + 7], more)
  if more and more.idempotency then remember(more.idempotency, ARGV[i], due) end
  seen[ARGV[i]] = true
  return due
end

local function more_of(i)
  return ARGV[i + 9] ~= '' and cjson.decode(ARGV[i + 9]) or nil
end

-- Checks all jobs before the first write. Returns whether any of them is refused, with the reasons in `answer`.
local function atomic_refusal()
  local refused = false
  for i = 3, #ARGV, PER_JOB do
    local reason = refusal(i, more_of(i))
    refused = refused or reason ~= nil
    answer[#answer + 1] = reason or { 'kept out' }
  end
  if not refused then answer = { now } end
  taken = {}
  return refused
end

local function open_batch(jobs)
  local key = BATCH .. batch.id
  redis.call('HSET', key, 'tenant', batch.tenant, 'created_ms', now, 'total', #jobs / 2, 'live', #jobs / 2, 'version', 1)
  call_with_many('ZADD', BATCH_JOBS .. batch.id, jobs)
end

if batch and batch.idempotency then
  local found = known(batch.idempotency)
  if found then return { now, found } end
end
if batch and batch.atomic and atomic_refusal() then return answer end
local members = {}
for i = 3, #ARGV, PER_JOB do
  local more = more_of(i)
  local reason = refusal(i, more)
  answer[#answer + 1] = reason or take(i, more)
  if batch and not reason then
    members[#members + 1], members[#members + 2] = (i - 3) / PER_JOB, ARGV[i]
  end
end
if #members > 0 then open_batch(members) end
if batch and batch.idempotency and #members > 0 then remember(batch.idempotency, batch.id, now) end
write_accepted()
write_all(now)
return answer
