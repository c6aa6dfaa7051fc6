-- Adopts jobs of stock arq producers, which write an envelope and a queue entry but no record. Requires `lists`.

-- Returns `ms` as an integer, or `now`: a producer's clock may be wrong, and an envelope may hold any number, or none.
local function moment(ms, now)
  ms = tonumber(ms)
  return ms and ms >= 0 and ms < 2 ^ 53 and math.floor(ms) or now
end

local KIND_BYTES_MAX = 256

-- Returns whether a string is well-formed UTF-8. Source: RFC 3629, section 4.
local function is_utf8(text)
  if not string.find(text, '[\128-\255]') then return true end
  for _, wrong in ipairs({ '\224[\128-\159]', '\237[\160-\191]', '\240[\128-\143]', '\244[\144-\191]' }) do
    if string.find(text, wrong) then return false end
  end
  local rest = string.gsub(text, '[\194-\223][\128-\191]', '')
  rest = string.gsub(rest, '[\224-\239][\128-\191][\128-\191]', '')
  rest = string.gsub(rest, '[\240-\244][\128-\191][\128-\191][\128-\191]', '')
  return not string.find(rest, '[\128-\255]')
end

-- Writes a record and returns its fields as the claim reads them. The kind is taken from the envelope, if it is JSON.
local function new_record(id, envelope, due, queue, now)
  local read, job = pcall(cjson.decode, envelope or '')
  if not read or type(job) ~= 'table' then job = {} end
  local kind = type(job.f) == 'string' and #job.f <= KIND_BYTES_MAX and is_utf8(job.f) and job.f or ''
  redis.call('DEL', RECORD .. id, EVENTS .. id, STEPS .. id) -- of an ended job with this id, or somebody else's
  local created, due_ms = string.format('%d', moment(job.et, now)), string.format('%d', due)
  redis.call('HSET', RECORD .. id, 'kind', kind, 'queue', queue, 'state', 'queued', 'created_ms', created, 'due_ms', due_ms,
    'version', 1)
  count(queue, 'submitted', 1)
  name_live_list(DEFAULT_TENANT, queue, kind)
  if envelope then redis.call('PERSIST', ENVELOPE .. id) end
  return { 'queued', kind, false, false, created, due_ms, '1', false, false }
end

-- Returns the fields of a job that is due although its record is missing or final: `r`, or those of a new record if a
-- stock producer has enqueued the job, possibly under the id of an ended one.
local function adopt(id, r, envelope, due, queue, now)
  if r[1] then
    if not envelope or redis.call('EXISTS', LEASE .. id) == 1 then return r end
    leave_list(r[1], r[8] or DEFAULT_TENANT, redis.call('HGET', RECORD .. id, 'queue'), r[2], id)
  end
  return new_record(id, envelope, due, queue, now)
end
