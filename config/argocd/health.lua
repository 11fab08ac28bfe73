-- Health of the kinds GoCache, CacheSnapshot, ModProxy and CacheRequest for Argo CD.
local health = {status = "Progressing", message = "The operator has not observed this object yet"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
-- In the order of urgency. Reconciling and Stalled are present only while they are True.
for _, rule in ipairs({
  {"Stalled", "True", "Degraded"},
  {"Suspended", "True", "Suspended"},
  {"Reconciling", "True", "Progressing"},
  {"Ready", "True", "Healthy"},
  {"Ready", "False", "Progressing"},
}) do
  local condition = conditions[rule[1]]
  if condition ~= nil and condition.status == rule[2] then
    health.status = rule[3]
    health.message = condition.message
    return health
  end
end
return health
