-- Adopts jobs of stock arq producers, which write an envelope and a place in the queue, but no record. Needs `lists`.

-- The producer's clock may be wrong, and the envelope may hold any number, or none.
local function moment(ms, now)
  ms = tonumber(ms)
  return ms and ms >= 0 and ms < 2 ^ 53 and math.floor(ms) or now
end

-- Writes a record, and returns its fields as the claim reads them. The kind stands in the envelope, if that is JSON at all.
local function new_record(id, envelope, due, queue, now)
  local read, job = pcall(cjson.decode, envelope or '')
  if not read or type(job) ~= 'table' then job = {} end
  local kind = type(job.f) == 'string' and job.f or ''
  local created, due_ms = string.format('%d', moment(job.et, now)), string.format('%d', due)
  redis.call('HSET', RECORD .. id, 'kind', kind, 'queue', queue, 'state', 'queued', 'created_ms', created, 'due_ms', due_ms,
    'version', 1)
  count(queue, 'submitted', 1)
  name_live_list(DEFAULT_TENANT, queue, kind)
  if envelope then redis.call('PERSIST', ENVELOPE .. id) end
  return { 'queued', kind, false, false, created, due_ms, '1', false, false }
end

-- Returns the fields of a job that is due, though its record is missing or final: `r`, or those of a record that is new
-- because a stock producer has put the job there, under the id of an ended one perhaps.
local function adopt(id, r, envelope, due, queue, now)
  if r[1] then
    if not envelope or redis.call('EXISTS', LEASE .. id) == 1 then return r end
    leave_list(r[1], r[8] or DEFAULT_TENANT, redis.call('HGET', RECORD .. id, 'queue'), r[2], id)
    redis.call('DEL', RECORD .. id, EVENTS .. id, STEPS .. id)
  end
  return new_record(id, envelope, due, queue, now)
end
