-- The packed group; flashstock/model/group_records.py is its twin and describes it.
local GROUP = '^(%a)(%d+)\t([^\t]*)\t([^\t]*)\t(%d+)\t(%d+)\t(%d+)\t([^\t]*)\t(%d+)$'
local GROUP_RULES = '^(%d+):(%d+):(%d+):(%d+):(%d+):(%a+):(%a+):(%d+):'
local NEAREST_MAX = 899 -- more seats missing are all the same to the list of open groups

-- flashstock/model/group_rules.py describes them.
local function parse_group_rules(rules)
  local size, life_ms, open_max, seats_max, groups_max, kind, deduct, house_max =
    string.match(rules, GROUP_RULES)
  return {
    size = tonumber(size), life_ms = tonumber(life_ms), open_max = tonumber(open_max),
    seats_max = tonumber(seats_max), groups_max = tonumber(groups_max),
    newcomers = kind == 'newcomers', at_forming = deduct == 'form',
    house_max = tonumber(house_max),
  }
end

local rules_read = {} -- by text: most groups of a pool have the same
local function parse_group(digest, packed)
  local state, deadline_ms, rules, pool_id, pending, paid, house, opener, opened_seq =
    string.match(packed, GROUP)
  rules_read[rules] = rules_read[rules] or parse_group_rules(rules)
  return {
    digest = digest, state = state, deadline_ms = tonumber(deadline_ms), rules_text = rules,
    rules = rules_read[rules], pool_id = pool_id, pending = tonumber(pending),
    paid = tonumber(paid), house = house, opener = opener, opened_seq = opened_seq,
  }
end

local function pack_group(group)
  return group.state .. string.format('%013.0f', group.deadline_ms) .. '\t' .. group.rules_text
    .. '\t' .. group.pool_id .. '\t' .. group.pending .. '\t' .. group.paid .. '\t'
    .. group.house .. '\t' .. group.opener .. '\t' .. group.opened_seq
end

local function seats_missing(group)
  return group.rules.size - group.pending - group.paid
end

-- Where an open group stands in the list of those that can be joined; exact as a double.
local function open_score(group)
  return math.min(seats_missing(group), NEAREST_MAX) * 1e13 + group.deadline_ms
end
