-- Lists a page of a tenant's jobs, latest first by the time they were accepted, merged from one or several lists.
-- ARGV[1] now (ms, 0: the server's clock)  ARGV[2] tenant  ARGV[3] limit  ARGV[4] maximum number of ids to examine
-- ARGV[5] JSON: source: 'lists', 'tag', 'batch' or 'dead', where to search; optional filters, all of which must match:
--   state, kind, queue, tag, batch, fingerprint, from_ms, to_ms; score, id: where the previous page ended
-- Returns {1 if more may follow, else 0; score and id of the last job examined, or '' and ''; then the ids}

local tenant, limit, looks, asked = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), cjson.decode(ARGV[5])
local CHUNK_MAX = 200

local function keys_of_lists()
  local found = {}
  local function add(state, queue, kind)
    if (not asked.state or asked.state == state) and (not asked.kind or asked.kind == kind)
      and (not asked.queue or asked.queue == queue) then
      found[#found + 1] = 'jobs:' .. state .. ':' .. tenant .. ':' .. queue .. ':' .. kind
    end
  end
  for _, name in ipairs(redis.call('SMEMBERS', 'live-lists:' .. tenant)) do
    local queue, kind = string.match(name, '^([^\31]*)\31(.*)$')
    for state, moves in pairs(MOVES) do
      if next(moves) ~= nil then add(state, queue, kind) end
    end
  end
  for _, name in ipairs(redis.call('ZRANGE', 'ended-lists:' .. tenant, 0, -1)) do
    add(string.match(name, '^([^\31]*)\31([^\31]*)\31(.*)$'))
  end
  return found
end

local SOURCES = {
  lists = keys_of_lists,
  tag = function() return { 'tag:' .. tenant .. ':' .. asked.tag, 'ended-tag:' .. tenant .. ':' .. asked.tag } end,
  batch = function() return { 'batch-jobs:' .. asked.batch } end,
  dead = function() return { 'dead:' .. tenant .. ':' .. asked.fingerprint } end,
}

local by_time = asked.source == 'lists' or asked.source == 'tag' -- the scores of the others are not times of acceptance
local top = by_time and asked.to_ms and string.format('%d', asked.to_ms) or '+inf'
local bottom = by_time and asked.from_ms and string.format('%d', asked.from_ms) or '-inf'

-- Compares as Redis does, by bytes; Lua's own comparison depends on the server's locale.
local function is_below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function is_later(score, id, other_score, other_id)
  if score ~= other_score then return score > other_score end
  return is_below(other_id, id)
end

-- Fills a cursor with the next ids of its list. Ids with the same score are in descending order, too.
local function fill(cursor)
  local got = redis.call('ZRANGE', cursor.key, cursor.from, bottom, 'BYSCORE', 'REV', 'LIMIT', cursor.skip, cursor.chunk,
    'WITHSCORES')
  cursor.got, cursor.ended = got, #got < cursor.chunk * 2
  cursor.chunk = math.min(cursor.chunk * 2, CHUNK_MAX)
  local last, same = got[#got], 0
  while same < #got / 2 and got[#got - same * 2] == last do same = same + 1 end
  cursor.skip = last == cursor.from and cursor.skip + same or same
  cursor.from = last
end

-- Advances to the next id that no earlier page has examined. Returns whether there is one.
local function advance(cursor)
  repeat
    cursor.at = cursor.at + 2
    if cursor.at > #cursor.got then
      if cursor.ended then return false end
      fill(cursor)
      if #cursor.got == 0 then return false end
      cursor.at = 1
    end
    cursor.id, cursor.score = cursor.got[cursor.at], tonumber(cursor.got[cursor.at + 1])
  until not asked.score or is_later(asked.score, asked.id, cursor.score, cursor.id)
  return true
end

local function first_score()
  if not asked.score or by_time and asked.to_ms and asked.to_ms < asked.score then return top end
  return string.format('%d', asked.score)
end

local cursors = {}
local keys, from = SOURCES[asked.source](), first_score()
for _, key in ipairs(keys) do
  local chunk = math.max(8, math.ceil(math.min(limit + 1, CHUNK_MAX) / #keys))
  local cursor = { key = key, from = from, skip = 0, chunk = chunk, got = {}, at = 0 }
  if advance(cursor) then cursors[#cursors + 1] = cursor end
end

-- The cursors form a binary heap with the latest id first: the children of `place` are at 2 * place and 2 * place + 1.
local function sink(place)
  while true do
    local best = place
    for child = place * 2, math.min(place * 2 + 1, #cursors) do
      local a, b = cursors[child], cursors[best]
      if is_later(a.score, a.id, b.score, b.id) then best = child end
    end
    if best == place then return end
    cursors[place], cursors[best] = cursors[best], cursors[place]
    place = best
  end
end

-- Checks of a record's fields. A job's state may have changed, or its record expired, since its id was put into a list.
local FIELDS, CHECKS = { 'state', 'tenant' }, {}

local function check(wanted, field, fits)
  if wanted == nil then return end
  FIELDS[#FIELDS + 1], CHECKS[#CHECKS + 1] = field, fits or function(value) return value == wanted end
end

local function has_tag(tags)
  for _, tag in ipairs(tags and cjson.decode(tags) or {}) do
    if tag == asked.tag then return true end
  end
  return false
end

-- Searches the JSON as text, since most of it is a traceback; a quotation mark within its strings is escaped.
local function has_fingerprint(failure)
  return failure and string.find(failure, '"fingerprint": "' .. asked.fingerprint .. '"', 1, true) ~= nil
end

check(asked.state, 'state')
check(asked.kind, 'kind')
check(asked.queue, 'queue')
check(asked.batch, 'batch')
check(asked.tag, 'tags', has_tag)
check(asked.from_ms, 'created_ms', function(ms) return tonumber(ms) >= asked.from_ms end)
check(asked.to_ms, 'created_ms', function(ms) return tonumber(ms) <= asked.to_ms end)
if asked.fingerprint then
  check('failed', 'state')
  if asked.source ~= 'dead' then check(true, 'failure', has_fingerprint) end
end

local function matches(id)
  local r = redis.call('HMGET', RECORD .. id, unpack(FIELDS))
  if not r[1] or (r[2] or DEFAULT_TENANT) ~= tenant then return false end
  for i = 1, #CHECKS do
    if not CHECKS[i](r[i + 2]) then return false end
  end
  return true
end

for place = math.floor(#cursors / 2), 1, -1 do sink(place) end
local answer, looked, last = { 0, '', '' }, 0, { score = '', id = '' }
while #cursors > 0 do
  if #answer - 3 == limit or looked == looks then
    answer[1] = 1
    break
  end
  local cursor = cursors[1]
  looked = looked + 1
  last.score, last.id = cursor.got[cursor.at + 1], cursor.id
  if matches(cursor.id) then answer[#answer + 1] = cursor.id end
  if not advance(cursor) then
    cursors[1] = cursors[#cursors]
    cursors[#cursors] = nil
  end
  sink(1)
end
answer[2], answer[3] = last.score, last.id
return answer
